-- A record is 84 bytes and the answer. Counted from 1, as Lua does:
--   1      1, the version of this layout
--   2      0 in flight, 1 completed
--   3      1 if the fingerprint is known, else 0
--   4-11   attempt, big endian
--   12-27  nonce
--   28-35  when it expires, in microseconds since 1970, signed, big endian; when completed the
--          greatest number, unless by the clock of a test: then it is for as long as Redis keeps it
--   36-43  when the lease ends, likewise; when completed the same as 28-35
--   44-84  fingerprint, or zeros
-- Other deadlines are judged here; Redis' own expiry only collects what nobody sees any more.

-- The fixed part, and one byte of the answer, so that it is seen whether there is one.
local function read_head(key)
  return redis.call('GETRANGE', key, 0, 84)
end

local function is_sound(head)
  local version, state, known = string.byte(head, 1, 3)
  if #head < 84 or version ~= 1 or known > 1 then return false end
  return state == 1 or state == 0 and #head == 84
end

local function is_visible(head, t)
  local expires, lease = struct.unpack('>i8i8', head, 28)
  return t < expires or t < lease
end

-- A visible record, and for how many microseconds more it or its lease is so.
local function seen(t, record)
  local expires, lease = struct.unpack('>i8i8', record, 28)
  if string.byte(record, 2) == 0 then return {lease - t, record} end
  if string.byte(record, 28) < 127 then return {expires - t, record} end
  return {redis.call('PTTL', KEYS[1]) * 1000, record}
end
