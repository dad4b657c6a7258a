-- clock, lease, unresolved, px, nonce, fingerprint or '', whether to take over a lapsed lease
-- An attempt when it is acquired, else the time and the record.
local t = now(ARGV[1])
local old = redis.pcall('GET', KEYS[1])
local attempt, fingerprint = 1, ARGV[6]
if old then
  if failed(old) then return old end
  if not is_sound(old) then return {t, old} end
  local number = (struct.unpack('>I8', old, 4))
  local expires, lease = struct.unpack('>i8i8', old, 28)
  if t < expires or t < lease then
    if string.byte(old, 2) == 1 then return {t, old} end
    if t < lease then
      if string.sub(old, 12, 27) == ARGV[5] then return number end
      return {t, old}
    end
    if ARGV[7] == '0' then return {t, old} end
    if string.byte(old, 3) == 1 then
      local known = string.sub(old, 44, 84)
      if fingerprint == '' then fingerprint = known end
      if fingerprint ~= known then return {t, old} end
    end
    attempt = number + 1
  end
end
local known = '\1'
if fingerprint == '' then known, fingerprint = '\0', string.rep('\0', 41) end
local record = '\1\0' .. known .. struct.pack('>I8', attempt) .. ARGV[5]
  .. struct.pack('>i8i8', t + ARGV[3], t + ARGV[2]) .. fingerprint
local done = redis.pcall('SET', KEYS[1], record, 'PX', ARGV[4])
if failed(done) then return done end
return attempt
