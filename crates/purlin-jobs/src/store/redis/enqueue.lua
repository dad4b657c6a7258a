-- clock, how many pairs of queue and kind, and their prefixes; then for each job: id, which pair, when,
-- the record from byte 40 on; the payload if that stands apart; if it has a unique key, whether it
-- replaces and the period.
-- When: nothing is now, 'a' and a number is after so long, 't' and eight bytes is then.
-- For each job n, or e and the id of who is there, or r and the id of who was replaced.
local t = now(ARGV[1])
local prefixes = tonumber(ARGV[2])
local arg, ids, jobs = 3 + prefixes, {}, {}
while arg <= #ARGV do
  local job = {id = ARGV[arg], prefix = ARGV[2 + ARGV[arg + 1]], when = ARGV[arg + 2], body = ARGV[arg + 3]}
  arg = arg + 4
  if string.byte(job.body, 2) == 1 then
    job.payload = ARGV[arg]
    arg = arg + 1
  end
  job.span = string.byte(job.body, 5)
  if job.span > 0 then
    job.replaces, job.period = string.byte(ARGV[arg]) == 49, string.sub(ARGV[arg], 2)
    arg = arg + 1
  end
  jobs[#jobs + 1] = job
  ids[#ids + 1] = job.id
end
local known = {}
for i, score in ipairs(each('ZMSCORE', IDS, ids)) do
  if score then known[ids[i]] = true end
end

-- Who has the key of this job, if that is not to be replaced; and who is.
local added = {}
local function take_key(job)
  local key = string.sub(job.body, 25, 56)
  local holder, replaced = redis.call('HGET', UNIQUE, key)
  if holder and (#holder == 16 or micros(string.sub(holder, 17)) > t) then
    holder = string.sub(holder, 1, 16)
    if not job.replaces or added[holder] or redis.call('HEXISTS', LEASED, holder) == 1 then return holder end
    local old = load(holder)
    if not old or old.state > 0 then return holder end
    unplace(old)
    erase({holder})
    known[holder], replaced = nil, holder
  end
  if job.span == 3 then
    local till = t + job.period
    redis.call('HSET', UNIQUE, key, job.id .. struct.pack('>i8', till))
    redis.call('ZADD', PERIODS, till, key)
  else
    redis.call('HSET', UNIQUE, key, job.id)
    redis.call('ZREM', PERIODS, key)
  end
  return nil, replaced
end

local at = struct.pack('>i8', t)
local zeros = struct.pack('>BHHi8i8H', 0, 0, 0, 0, 0, 0)
local fresh, ranks, queues = at .. at .. zeros, {}, {}
local said, records, index, ready, payloads = {}, {}, {}, {}, {}
for i, job in ipairs(jobs) do
  local id, holder, replaced = job.id
  if known[id] then
    holder = id
  elseif job.span > 0 then
    holder, replaced = take_key(job)
  end
  if holder then
    said[i] = 'e' .. holder
  else
    said[i] = replaced and 'r' .. replaced or 'n'
    known[id], added[id] = true, true
    local head, run = fresh, t
    if job.when ~= '' then
      local bytes = string.sub(job.when, 2)
      if string.byte(job.when) == 97 then
        run = t + bytes
        if run > t then bytes = struct.pack('>i8', run) end
      else
        run = micros(bytes)
      end
      if run > t then head = at .. bytes .. zeros end
    end
    records[#records + 1] = id
    records[#records + 1] = head .. job.body
    index[#index + 1] = 0
    index[#index + 1] = id
    if job.payload then
      payloads[#payloads + 1] = id
      payloads[#payloads + 1] = job.payload
    end
    local queue = queues[job.prefix] or string.match(job.prefix, '^%Z*')
    queues[job.prefix] = queue
    if run > t then
      to_schedule({id = id, queue = queue}, run)
    else
      local offset = string.sub(job.body, 3, 4)
      ranks[offset] = ranks[offset] or struct.pack('>i8', t + struct.unpack('>H', offset) * 1000000)
      wakes(job.prefix, queue)
      ready[#ready + 1] = 0
      ready[#ready + 1] = job.prefix .. ranks[offset] .. id
    end
  end
end
many('HSET', JOBS, records)
many('ZADD', IDS, index)
many('ZADD', READY, ready)
many('HSET', PAYLOADS, payloads)
done_placing()
return table.concat(said)
