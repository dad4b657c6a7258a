-- clock, lease
local head, answer = owned(now(ARGV[1]))
if not head then return answer end
local done = redis.pcall('UNLINK', KEYS[1])
if failed(done) then return done end
return 1
