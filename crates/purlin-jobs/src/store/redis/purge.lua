-- clock, age, how many
local t, most = now(ARGV[1]), tonumber(ARGV[3])
local ids = redis.call('ZRANGE', FINISHED, '-inf', string.format('%.0f', t - ARGV[2]), 'BYSCORE', 'LIMIT', 0, most)
for i, record in ipairs(each('HMGET', JOBS, ids)) do
  if record then
    local j = decode(ids[i], record)
    count(j.state == 1 and 'd' or 'c', j.queue, -1)
  end
end
erase(ids)
many('ZREM', FINISHED, ids)
local keys = {}
if #ids < most then
  keys = redis.call('ZRANGE', PERIODS, '-inf', string.format('%.0f', t), 'BYSCORE', 'LIMIT', 0, most - #ids)
  many('HDEL', UNIQUE, keys)
  many('ZREM', PERIODS, keys)
end
done_counting()
return #ids + #keys
