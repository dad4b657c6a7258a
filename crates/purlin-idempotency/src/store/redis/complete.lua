-- clock, lease, retention, px, fingerprint, answer
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
local expires = t + ARGV[3]
local record = '\1\1\1' .. ARGV[2] .. struct.pack('>i8i8', expires, expires) .. ARGV[5] .. ARGV[6]
local done = redis.pcall('SET', KEYS[1], record, 'PX', ARGV[4])
if failed(done) then return done end
return 1
