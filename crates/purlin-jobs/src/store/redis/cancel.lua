-- clock, id
local j = load(ARGV[2])
if not j or j.state > 0 then return 0 end
local lease = redis.call('HGET', LEASED, j.id)
if lease then
  local open = redis.call('HGET', LEASES, string.sub(lease, 1, 16))
  if open then redis.call('ZADD', CANCELS, 0, string.sub(open, 1, 16) .. j.id) end
  return 1
end
unplace(j)
finish(j, 2, now(ARGV[1]))
done_placing()
return 1
