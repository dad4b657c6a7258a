-- clock, attempt and nonce, px, the record to be
local head = redis.call('GETRANGE', KEYS[1], 0, 84)
local version, state, known = string.byte(head, 1, 3)
local is_under_way = #head == 84 and version == 1 and state == 0 and known < 2
if is_under_way and string.sub(head, 4, 27) == ARGV[2] then
  redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[3])
  return 1
end
