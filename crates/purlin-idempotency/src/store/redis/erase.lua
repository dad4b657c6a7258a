-- clock
local head = read_head(KEYS[1])
if head == '' then return 0 end
if not is_sound(head) then return -1 end
if string.byte(head, 2) == 0 or not is_visible(head, now(ARGV[1])) then return 0 end
local record = string.sub(head, 1, 2) .. '\0' .. string.sub(head, 4, 43) .. string.rep('\0', 41)
redis.call('SET', KEYS[1], record, 'KEEPTTL')
if #head > 84 then return 1 end
return 0
