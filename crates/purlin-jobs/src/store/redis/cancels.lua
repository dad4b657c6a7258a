-- Whether a worker is to cancel a job that it gives up, which is forgotten now.
local any_cancels = redis.call('EXISTS', CANCELS) == 1

local function is_to_cancel(worker, id)
  return any_cancels and redis.call('ZREM', CANCELS, worker .. id) == 1
end
