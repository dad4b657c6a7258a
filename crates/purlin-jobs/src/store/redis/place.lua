-- How many more jobs of a queue are scheduled, leased, dead or cancelled; written at the end.
local counted = {}

local function count(state, queue, by)
  local field = state .. queue
  counted[field] = (counted[field] or 0) + by
end

-- Queues that have something to claim of a kind of which they had nothing. Whoever waits has seen it
-- empty, so nobody needs to hear of more of what is there.
local woken, looked = {}, {}

-- The members of the ready jobs of one queue and kind begin with this; rank and id follow.
local function prefix_of(queue, kind)
  return queue .. '\0' .. struct.pack('>H', #kind) .. kind
end

local function wakes(prefix, queue)
  if looked[prefix] then return end
  looked[prefix] = true
  local first = redis.call('ZRANGE', READY, '[' .. prefix, '(' .. prefix .. LAST, 'BYLEX', 'LIMIT', 0, 1)
  if #first == 0 then woken[queue] = true end
end

local function member(j)
  local rank = micros(j.run) + j.offset * 1000000
  return prefix_of(j.queue, j.kind) .. struct.pack('>i8', rank) .. j.id
end

local function to_ready(j)
  wakes(prefix_of(j.queue, j.kind), j.queue)
  redis.call('ZADD', READY, 0, member(j))
end

local function to_schedule(j, run)
  redis.call('ZADD', SCHEDULED, run, j.id)
  count('s', j.queue, 1)
end

-- Takes a job from where it waits.
local function unplace(j)
  if redis.call('ZREM', SCHEDULED, j.id) == 1 then
    count('s', j.queue, -1)
  else
    redis.call('ZREM', READY, member(j))
  end
end

-- Ends a job that is kept: 1 dead, 2 cancelled.
local function finish(j, state, t)
  j.state, j.finished = state, t
  save(j)
  redis.call('ZADD', FINISHED, t, j.id)
  count(state == 1 and 'd' or 'c', j.queue, 1)
  if j.span == 1 or j.span == 2 then free_key(j.key, j.id) end
end

-- Lets a job that was leased wait again: as if it had been due when it was enqueued.
local function give_back(j)
  if j.run ~= j.at or j.changed then
    j.run = j.at
    save(j)
  end
  to_ready(j)
end

-- Nothing of these is left.
local function erase(ids)
  many('HDEL', JOBS, ids)
  many('ZREM', IDS, ids)
  if redis.call('EXISTS', PAYLOADS) == 1 then many('HDEL', PAYLOADS, ids) end
end

local function done_counting()
  for field, by in pairs(counted) do
    if by ~= 0 and redis.call('HINCRBY', COUNTS, field, string.format('%.0f', by)) == 0 then
      redis.call('HDEL', COUNTS, field)
    end
  end
end

local function wake(queue)
  redis.call('XADD', WAKE, 'MAXLEN', 256, '*', 'q', queue)
end

local function done_placing()
  done_counting()
  for queue in pairs(woken) do wake(queue) end
end
