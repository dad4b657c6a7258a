-- the id after which to begin or nothing, queue, kind and letter of the state or nothing, how many to
-- give, how many to look at
-- Letter, id and record of each, and at last the id that was looked at last, or nothing at the end.
local after, queue, kind, state = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local most, looks, bytes = tonumber(ARGV[5]), tonumber(ARGV[6]), 8388608
local ids = redis.call('ZRANGE', IDS, after == '' and '-' or '(' .. after, '+', 'BYLEX', 'LIMIT', 0, looks)
local found, last = {}, #ids == looks and ids[#ids] or ''
for i, record in ipairs(each('HMGET', JOBS, ids)) do
  if record then
    local j = decode(ids[i], record)
    if (queue == '' or queue == j.queue) and (kind == '' or kind == j.kind) then
      local found_in = state_of(ids[i], record)
      if state == '' or state == found_in then
        record = whole(ids[i], record)
        found[#found + 1] = found_in .. ids[i] .. record
        bytes = bytes - #record
        if #found == most or bytes < 0 then
          last = ids[i]
          break
        end
      end
    end
  end
end
found[#found + 1] = last
return found
