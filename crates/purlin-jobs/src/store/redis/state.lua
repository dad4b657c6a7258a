-- r ready, s scheduled, l leased, d dead, c cancelled
local function state_of(id, record)
  local state = string.byte(record, 17)
  if state > 0 then return state == 1 and 'd' or 'c' end
  if redis.call('HEXISTS', LEASED, id) == 1 then return 'l' end
  return redis.call('ZSCORE', SCHEDULED, id) and 's' or 'r'
end
