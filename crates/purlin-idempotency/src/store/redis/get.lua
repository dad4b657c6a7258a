-- clock
local record = redis.call('GET', KEYS[1])
if not record then return record end
if not is_sound(record) then return {0, record} end
local t = now(ARGV[1])
return is_visible(record, t) and seen(t, record)
