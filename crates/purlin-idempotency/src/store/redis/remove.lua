-- clock
-- A record that cannot be read goes too: it is for an operator, who has no other way.
local head = read_head(KEYS[1])
if head == '' then return 0 end
redis.call('UNLINK', KEYS[1])
if is_sound(head) and not is_visible(head, now(ARGV[1])) then return 0 end
return 1
