drop table {schema}.order_items;
drop table {schema}.orders;
drop table {schema}.products;
