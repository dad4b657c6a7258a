-- clock, lease, unresolved, px, the record to be before its deadlines, its fingerprint or zeros, whether
-- to take over a lapsed lease
-- An attempt when it is acquired, else what was seen.
local t = now(ARGV[1])
local deadlines = struct.pack('>i8i8', t + ARGV[3], t + ARGV[2])
local function write(begin, fingerprint, ...)
  return redis.pcall('SET', KEYS[1], begin .. deadlines .. fingerprint, 'PX', ARGV[4], ...)
end

local begin, fingerprint, attempt = ARGV[5], ARGV[6], 1
local old = write(begin, fingerprint, 'NX', 'GET')
if not old then return 1 end
if failed(old) then
  -- A Redis that is full refuses what would not have written.
  local refused = old
  old = redis.pcall('GET', KEYS[1])
  if not old then return refused end
  if failed(old) then return old end
end
if not is_sound(old) then return {0, old} end
if is_visible(old, t) then
  local number = (struct.unpack('>I8', old, 4))
  if string.byte(old, 2) == 1 then return seen(t, old) end
  if t < (struct.unpack('>i8', old, 36)) then
    if string.sub(old, 12, 27) == string.sub(begin, 12, 27) then return number end
    return seen(t, old)
  end
  if ARGV[7] == '0' then return seen(t, old) end
  local known, is_known = string.sub(old, 44, 84), string.byte(begin, 3)
  if string.byte(old, 3) == 1 then
    if is_known == 1 and fingerprint ~= known then return seen(t, old) end
    is_known, fingerprint = 1, known
  end
  attempt = number + 1
  begin = '\1\0' .. string.char(is_known) .. struct.pack('>I8', attempt) .. string.sub(begin, 12, 27)
end
local done = write(begin, fingerprint)
if failed(done) then return done end
return attempt
