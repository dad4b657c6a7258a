-- clock, worker, for how long
-- The ids of its jobs that are to be cancelled in a row; nothing when it is not alive.
local t, worker = now(ARGV[1]), ARGV[2]
local expires = redis.call('ZSCORE', WORKERS, worker)
if not expires or tonumber(expires) <= t then return false end
redis.call('ZADD', WORKERS, t + ARGV[3], worker)
local cancels = redis.call('ZRANGE', CANCELS, '[' .. worker, '(' .. worker .. LAST, 'BYLEX')
for i, name in ipairs(cancels) do cancels[i] = string.sub(name, 17) end
return table.concat(cancels)
