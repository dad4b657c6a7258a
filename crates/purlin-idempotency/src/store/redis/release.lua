-- clock, lease
local head, answer = owned(now(ARGV[1]))
if not head then return answer end
redis.call('UNLINK', KEYS[1])
return 1
