-- clock
local record = redis.pcall('GET', KEYS[1])
if not record or failed(record) then return record end
return {now(ARGV[1]), record}
