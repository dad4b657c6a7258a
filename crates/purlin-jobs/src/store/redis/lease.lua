-- A lease is the worker, the queue with its length before it, and the ids in the order of the queue.
local function queue_of(lease)
  return string.sub(lease, 18, 17 + string.byte(lease, 17))
end

local function jobs_of(lease)
  local ids = {}
  for from = 18 + string.byte(lease, 17), #lease, 16 do
    ids[#ids + 1] = string.sub(lease, from, from + 15)
  end
  return ids
end

local function end_lease(worker, lease)
  redis.call('HDEL', LEASES, lease)
  redis.call('HDEL', LEFT, lease)
  redis.call('ZREM', OWNED, worker .. lease)
end
