-- clock
-- A record that cannot be read goes too: it is for an operator, who has no other way.
local head = read_head(KEYS[1])
if failed(head) then return head end
if head == '' then return 0 end
local done = redis.pcall('UNLINK', KEYS[1])
if failed(done) then return done end
if is_sound(head) and not is_visible(head, now(ARGV[1])) then return 0 end
return 1
