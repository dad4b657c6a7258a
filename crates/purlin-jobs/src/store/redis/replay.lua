-- clock, id
-- 1, or 0 when it is neither dead nor scheduled, or -1 when another has its key.
local t, j = now(ARGV[1]), load(ARGV[2])
if not j then return 0 end
if j.state == 1 then
  if j.span == 2 then
    local holder = redis.call('HGET', UNIQUE, j.key)
    if holder and (#holder == 16 or micros(string.sub(holder, 17)) > t) then return -1 end
    redis.call('HSET', UNIQUE, j.key, j.id)
    redis.call('ZREM', PERIODS, j.key)
  end
  redis.call('ZREM', FINISHED, j.id)
  count('d', j.queue, -1)
  j.state, j.failures, j.crashes, j.finished = 0, 0, 0, 0
elseif j.state == 0 and redis.call('ZSCORE', SCHEDULED, j.id) then
  unplace(j)
else
  return 0
end
j.run = struct.pack('>i8', t)
save(j)
to_ready(j)
done_placing()
return 1
