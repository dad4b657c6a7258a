-- clock, lease
local t = now(ARGV[1])
local head, answer = owned(t)
if not head then return answer end
local lease = (struct.unpack('>i8', head, 36))
if t < lease then
  redis.call('SETRANGE', KEYS[1], 35, struct.pack('>i8', t))
end
return 1
