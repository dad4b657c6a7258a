-- A job is a string: 63 bytes, and then its unique key if it has one, queue, kind, traceparent, error
-- and payload. Big endian, counted from 1:
--   1-8    enqueued at, in microseconds since 1970
--   9-16   may start at
--   17     0 waits or is leased, 1 dead, 2 cancelled
--   18-19  failures
--   20-21  crashes
--   22-29  ended at, if it has
--   30-37  failed at, or 0
--   38-39  bytes of the error
--   40     1, the version of this layout
--   41     1 if the payload stands in a key of its own
--   42-43  what its priority adds to its rank, in seconds
--   44     unique: 0 not, 1 until the start, 2 until it is done, 3 for a period
--   45-46  attempts
--   47-48  version of the payload
--   49-56  timeout in microseconds, or -1
--   57     bytes of the queue's name
--   58-59  bytes of the kind
--   60-63  bytes of the traceparent, or 2^32 - 1 for none
-- A double holds microseconds exactly until 2255. What is later is kept as the bytes that came.
local HEAD = '>c8c8BHHi8i8HBBHBHHi8BHI4'

local function decode(id, record)
  local j, layout, tlen, elen, klen, qlen, _ = {id = id}
  j.at, j.run, j.state, j.failures, j.crashes, j.finished, j.failed, elen, layout, j.large, j.offset,
    j.span, _, _, _, qlen, klen, tlen = struct.unpack(HEAD, record)
  local from = 64
  if j.span > 0 then
    j.key = string.sub(record, 64, 95)
    from = 96
  end
  j.queue = string.sub(record, from, from + qlen - 1)
  j.kind = string.sub(record, from + qlen, from + qlen + klen - 1)
  from = from + qlen + klen
  if tlen < 4294967295 then from = from + tlen end
  j.fixed = string.sub(record, 40, from - 1)
  j.error = string.sub(record, from, from + elen - 1)
  j.payload = string.sub(record, from + elen)
  return j
end

local function save(j)
  redis.call('HSET', JOBS, j.id, j.at .. j.run
    .. struct.pack('>BHHi8i8H', j.state, j.failures, j.crashes, j.finished, j.failed, #j.error)
    .. j.fixed .. j.error .. j.payload)
end

local function load(id)
  local record = redis.call('HGET', JOBS, id)
  return record and decode(id, record)
end

local function micros(bytes)
  return (struct.unpack('>i8', bytes))
end

-- What an operator and a worker read: with the payload, wherever that is.
local function whole(id, record)
  if string.byte(record, 41) == 1 then
    return record .. (redis.call('HGET', PAYLOADS, id) or '')
  end
  return record
end

local function free_key(key, id)
  local holder = redis.call('HGET', UNIQUE, key)
  if holder and string.sub(holder, 1, 16) == id then redis.call('HDEL', UNIQUE, key) end
end
