-- clock, worker, lease, queue, limit, a prefix for each kind
-- The ids in a row and the records; -1 when the worker is not alive, -2 when a job has no record.
local t, worker, lease, queue, limit = now(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local expires = redis.call('ZSCORE', WORKERS, worker)
if not expires or tonumber(expires) <= t then return -1 end

local function give(ids, records)
  for i, id in ipairs(ids) do
    if not records[i] then return -2 end
    records[i] = whole(id, records[i])
  end
  return {table.concat(ids), records}
end

local open = redis.call('HGET', LEASES, lease)
if open then
  local ids, held = jobs_of(open), {}
  for i, value in ipairs(each('HMGET', LEASED, ids)) do
    if value and string.sub(value, 1, 16) == lease then held[#held + 1] = ids[i] end
  end
  return give(held, each('HMGET', JOBS, held))
end
if redis.call('SISMEMBER', PAUSED, queue) == 1 then return {} end

-- What is ready of one kind, from some member on.
local function next_of(prefix, from, most)
  return redis.call('ZRANGE', READY, from, '(' .. prefix .. LAST, 'BYLEX', 'LIMIT', 0, most)
end

local sources, members = {}, {}
if #ARGV == 6 then
  members = next_of(ARGV[6], '[' .. ARGV[6], limit)
  if #members > 0 then sources[1] = {prefix = ARGV[6], last = members[#members]} end
else
  -- The kinds are merged by rank, a few of each at a time.
  local some = math.min(limit, 64)
  local function look(source)
    source.rank = source.found[source.at]
      and micros(string.sub(source.found[source.at], #source.prefix + 1, #source.prefix + 8))
  end
  for i = 6, #ARGV do
    local source = {prefix = ARGV[i], found = next_of(ARGV[i], '[' .. ARGV[i], some), at = 1}
    look(source)
    if source.rank then sources[#sources + 1] = source end
  end
  while #members < limit do
    local first
    for _, source in ipairs(sources) do
      if source.rank and (not first or source.rank < first.rank) then first = source end
    end
    if not first then break end
    first.last = first.found[first.at]
    members[#members + 1] = first.last
    first.at = first.at + 1
    if first.at > some then
      first.found, first.at = next_of(first.prefix, '(' .. first.last, some), 1
    end
    look(first)
  end
end
if #members == 0 then return {} end

local ids = {}
for i, name in ipairs(members) do ids[i] = string.sub(name, -16) end
local records = each('HMGET', JOBS, ids)
local leased = {}
for i, id in ipairs(ids) do
  local record = records[i]
  if not record then return -2 end
  leased[2 * i - 1] = id
  leased[2 * i] = string.byte(record, 44) == 2 and lease .. string.sub(record, 64, 95) or lease
end
many('HSET', LEASED, leased)
for _, source in ipairs(sources) do
  if source.last then redis.call('ZREMRANGEBYLEX', READY, '[' .. source.prefix, '[' .. source.last) end
end
for i, id in ipairs(ids) do
  if string.byte(records[i], 44) == 1 then free_key(string.sub(records[i], 64, 95), id) end
end
redis.call('HSET', LEASES, lease, worker .. string.char(#queue) .. queue .. table.concat(ids))
redis.call('HSET', LEFT, lease, #ids)
redis.call('ZADD', OWNED, 0, worker .. lease)
redis.call('HINCRBY', COUNTS, 'l' .. queue, #ids)
return give(ids, records)
