-- queues
-- The last entry of the stream, and 1 if something is ready in them.
local last = redis.call('XREVRANGE', WAKE, '+', '-', 'COUNT', 1)[1]
local ready = 0
for _, queue in ipairs(ARGV) do
  local first = redis.call('ZRANGE', READY, '[' .. queue .. '\0', '(' .. queue .. '\1', 'BYLEX', 'LIMIT', 0, 1)
  if #first > 0 then ready = 1 end
end
return {last and last[1] or '0-0', ready}
