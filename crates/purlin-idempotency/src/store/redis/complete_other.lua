if head ~= '' then
  if not is_sound(head) then return -1 end
  if is_visible(head, now(ARGV[1])) then
    return string.sub(head, 4, 27) == ARGV[2] and 1 or 0
  end
end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[3])
return 1
