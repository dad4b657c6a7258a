-- All keys of a store, whatever a script needs of them: in a cluster that moves their slot a script is
-- then run with all of them or not at all.
local JOBS, IDS, READY, SCHEDULED, FINISHED, PAYLOADS, LEASED, LEASES, LEFT, OWNED, WORKERS, CANCELS,
  UNIQUE, PERIODS, PAUSED, COUNTS, WAKE = unpack(KEYS)

-- What greater strings with this prefix end before.
local LAST = string.rep('\255', 17)

-- Lua's stack bounds how many arguments a call can have. `args` in pairs.
local function many(command, key, args)
  for i = 1, #args, 4000 do
    redis.call(command, key, unpack(args, i, math.min(i + 3999, #args)))
  end
end

-- Values of a hash or a sorted set for any number of members.
local function each(command, key, members)
  if #members <= 4000 then
    if #members == 0 then return {} end
    return redis.call(command, key, unpack(members))
  end
  local values = {}
  for i = 1, #members, 4000 do
    local some = redis.call(command, key, unpack(members, i, math.min(i + 3999, #members)))
    for n = 1, #some do values[i + n - 1] = some[n] end
  end
  return values
end
