-- clock, lease, unresolved, px, the record to be before its deadlines, its fingerprint or zeros, whether
-- to take over a lapsed lease
-- An attempt when it is acquired, else the time and the record.
local t = now(ARGV[1])
local old = redis.pcall('GET', KEYS[1])
local begin, fingerprint, attempt = ARGV[5], ARGV[6], 1
if old then
  if failed(old) then return old end
  if not is_sound(old) then return {t, old} end
  if is_visible(old, t) then
    local number = (struct.unpack('>I8', old, 4))
    if string.byte(old, 2) == 1 then return {t, old} end
    if t < (struct.unpack('>i8', old, 36)) then
      if string.sub(old, 12, 27) == string.sub(begin, 12, 27) then return number end
      return {t, old}
    end
    if ARGV[7] == '0' then return {t, old} end
    local known, is_known = string.sub(old, 44, 84), string.byte(begin, 3)
    if string.byte(old, 3) == 1 then
      if is_known == 1 and fingerprint ~= known then return {t, old} end
      is_known, fingerprint = 1, known
    end
    attempt = number + 1
    begin = '\1\0' .. string.char(is_known) .. struct.pack('>I8', attempt) .. string.sub(begin, 12, 27)
  end
end
local record = begin .. struct.pack('>i8i8', t + ARGV[3], t + ARGV[2]) .. fingerprint
local done = redis.pcall('SET', KEYS[1], record, 'PX', ARGV[4])
if failed(done) then return done end
return attempt
