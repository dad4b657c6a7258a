-- clock, queue or nothing
-- Names and numbers of the counts, how many are ready, and how long the next one is.
local t, queue = now(ARGV[1]), ARGV[2]
local from, to = '-', '+'
if queue ~= '' then from, to = '[' .. queue .. '\0', '(' .. queue .. '\1' end
local counts = redis.call('HGETALL', COUNTS)
local ready, waited = redis.call('ZLEXCOUNT', READY, from, to), ''
local rank, id
while true do
  -- The first of each kind.
  local first = redis.call('ZRANGE', READY, from, to, 'BYLEX', 'LIMIT', 0, 1)[1]
  if not first then break end
  local prefix = string.sub(first, 1, -25)
  local its = micros(string.sub(first, -24, -17))
  if not rank or its < rank then rank, id = its, string.sub(first, -16) end
  from = '(' .. prefix .. LAST
end
local record = id and redis.call('HGET', JOBS, id)
if record then waited = string.format('%.0f', t - micros(string.sub(record, 9, 16))) end
return {counts, ready, waited}
