-- clock, lease, a letter for each settlement, their ids, and in the same order what some letters need:
-- d done, r to be tried again (after, error), x dead (error), c cancelled, s asleep (after), b given back
-- For each 1 if it was leased by it, else 0.
local t, lease, letters = now(ARGV[1]), ARGV[2], ARGV[3]
local open = redis.call('HGET', LEASES, lease)
if not open then return string.rep('0', #letters) end
local worker, queue = string.sub(open, 1, 16), queue_of(open)
local ids = {unpack(ARGV, 4, 3 + #letters)}
local held, said, gone, taken = each('HMGET', LEASED, ids), {}, {}, {}
for i, id in ipairs(ids) do
  if held[i] and string.sub(held[i], 1, 16) == lease and not taken[id] then
    taken[id], said[i], gone[#gone + 1] = true, '1', id
  else
    said[i] = '0'
  end
end
if #gone == 0 then return table.concat(said) end

-- First what frees memory: a Redis that is full takes the rest of a script that has begun.
many('HDEL', LEASED, gone)
count('l', queue, -#gone)
if redis.call('HINCRBY', LEFT, lease, -#gone) <= 0 then end_lease(worker, lease) end

local done, arg = {}, 4 + #letters
for i, id in ipairs(ids) do
  local letter, after, failed = string.byte(letters, i)
  if letter == 114 or letter == 115 then after, arg = ARGV[arg], arg + 1 end
  if letter == 114 or letter == 120 then failed, arg = ARGV[arg], arg + 1 end
  if said[i] == '1' then
    local is_cancelled = is_to_cancel(worker, id)
    local j = letter ~= 100 and load(id)
    if letter == 100 then
      done[#done + 1] = id
      if #held[i] > 16 then free_key(string.sub(held[i], 17), id) end
    elseif j then
      if failed then
        j.failures, j.failed, j.error = math.min(j.failures + 1, 65535), t, failed
      end
      if letter == 120 then
        finish(j, 1, t)
      elseif letter == 99 or is_cancelled then
        finish(j, 2, t)
      elseif after then
        local run = t + after
        j.run = struct.pack('>i8', run)
        save(j)
        to_schedule(j, run)
      else
        give_back(j)
      end
    end
  end
end
erase(done)
done_placing()
return table.concat(said)
