-- queue, whether it is to be paused
if ARGV[2] == '1' then return redis.call('SADD', PAUSED, ARGV[1]) end
local resumed = redis.call('SREM', PAUSED, ARGV[1])
if resumed == 1 then wake(ARGV[1]) end
return resumed
