-- clock, how many workers, how many crashes are too many, the error then, how many jobs; and if it
-- leaves, the worker
-- How many workers are gone, how many of their jobs are ready, how many dead, and 1 if there is more.
local t, most, max_crashes, crashed, jobs = now(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local leaves = ARGV[6]
local workers = leaves and {leaves}
  or redis.call('ZRANGE', WORKERS, '-inf', string.format('%.0f', t), 'BYSCORE', 'LIMIT', 0, most)
local gone, ready, dead = 0, 0, 0

local function take_from(worker, lease)
  local open = redis.call('HGET', LEASES, lease)
  end_lease(worker, lease)
  if not open then return end
  local ids, held = jobs_of(open), {}
  for i, value in ipairs(each('HMGET', LEASED, ids)) do
    if value and string.sub(value, 1, 16) == lease then held[#held + 1] = ids[i] end
  end
  many('HDEL', LEASED, held)
  count('l', queue_of(open), -#held)
  jobs = jobs - #held
  for i, record in ipairs(each('HMGET', JOBS, held)) do
    local j = record and decode(held[i], record)
    if j then
      if not leaves then
        j.crashes, j.changed = math.min(j.crashes + 1, 65535), true
      end
      if is_to_cancel(worker, j.id) then
        finish(j, 2, t)
      elseif not leaves and j.crashes >= max_crashes then
        j.failed, j.error = t, crashed
        finish(j, 1, t)
        dead = dead + 1
      else
        give_back(j)
        ready = ready + 1
      end
    end
  end
end

local more = 0
for _, worker in ipairs(workers) do
  local owned = redis.call('ZRANGE', OWNED, '[' .. worker, '(' .. worker .. LAST, 'BYLEX')
  for _, name in ipairs(owned) do
    if jobs <= 0 then
      more = 1
      break
    end
    take_from(worker, string.sub(name, 17))
  end
  if more == 1 then break end
  gone = gone + redis.call('ZREM', WORKERS, worker)
end
done_placing()
return {gone, ready, dead, more}
