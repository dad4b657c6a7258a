//! `RedisStore` on a real Redis.
