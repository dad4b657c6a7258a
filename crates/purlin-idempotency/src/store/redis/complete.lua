-- clock, lease, retention, px, the record to be, its deadlines zeros
local t = now(ARGV[1])
local head = read_head(KEYS[1])
if failed(head) then return head end
if head ~= '' then
  if not is_sound(head) then return -1 end
  if is_visible(head, t) then
    if string.sub(head, 4, 27) ~= ARGV[2] then return 0 end
    if string.byte(head, 2) == 1 then return 1 end
  end
end
local record, expires = ARGV[5], t + ARGV[3]
local deadlines = struct.pack('>i8i8', expires, expires)
local is_large = #record > 1024
if not is_large then record = string.sub(record, 1, 27) .. deadlines .. string.sub(record, 44) end
local done = redis.pcall('SET', KEYS[1], record, 'PX', ARGV[4])
if failed(done) then return done end
if is_large then
  -- To put them in, Lua would copy all of it twice, and hash each copy.
  done = redis.pcall('SETRANGE', KEYS[1], 27, deadlines)
  if failed(done) then return done end
end
return 1
