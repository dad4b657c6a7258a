-- clock, lease, ttl, px
local t = now(ARGV[1])
local head, answer = owned(t)
if not head then return answer end
local lease, expires = t + ARGV[3], (struct.unpack('>i8', head, 28))
if lease > expires then
  -- The one place where it can become visible for longer than Redis was told. First, since what has
  -- begun is not undone: a key that is kept for too long does no harm.
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  expires = lease
end
redis.call('SETRANGE', KEYS[1], 27, struct.pack('>i8i8', expires, lease))
return 1
