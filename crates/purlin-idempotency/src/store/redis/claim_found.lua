if type(old) == 'table' then
  -- A Redis that is full refuses also what would not have written.
  local refused = old
  old = redis.call('GET', KEYS[1])
  if not old then return refused end
end
if not is_sound(old) then return {0, old} end
local attempt = 1
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
  new = begin .. deadlines .. fingerprint
end
redis.call('SET', KEYS[1], new, 'PX', ARGV[4])
return attempt
