-- clock, how many
-- How many were promoted, when the next one may start or nothing, and the time.
local t = now(ARGV[1])
local ids = redis.call('ZRANGE', SCHEDULED, '-inf', string.format('%.0f', t), 'BYSCORE', 'LIMIT', 0, ARGV[2])
local ready, promoted = {}, 0
for i, record in ipairs(each('HMGET', JOBS, ids)) do
  if record then
    local j = decode(ids[i], record)
    count('s', j.queue, -1)
    wakes(prefix_of(j.queue, j.kind), j.queue)
    ready[#ready + 1] = 0
    ready[#ready + 1] = member(j)
    promoted = promoted + 1
  end
end
many('ZREM', SCHEDULED, ids)
many('ZADD', READY, ready)
done_placing()
local next_id = redis.call('ZRANGE', SCHEDULED, 0, 0)[1]
local record = next_id and redis.call('HGET', JOBS, next_id)
return {promoted, record and string.sub(record, 9, 16) or '', struct.pack('>i8', t)}
