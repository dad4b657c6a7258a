-- clock, attempt and nonce, px, the record to be
local head = read_head(KEYS[1])
if failed(head) then return head end
if head ~= '' then
  if not is_sound(head) then return -1 end
  local is_ours = string.sub(head, 4, 27) == ARGV[2]
  local is_under_way = is_ours and string.byte(head, 2) == 0
  if not is_under_way and is_visible(head, now(ARGV[1])) then return is_ours and 1 or 0 end
end
local done = redis.pcall('SET', KEYS[1], ARGV[4], 'PX', ARGV[3])
if failed(done) then return done end
return 1
