-- The head of the work that is under way by the lease ARGV[2], lapsed or not; else what to answer.
local function owned(t)
  local head = read_head(KEYS[1])
  if head == '' then return nil, 0 end
  if not is_sound(head) then return nil, -1 end
  local is_ours = is_visible(head, t) and string.sub(head, 4, 27) == ARGV[2]
  if is_ours and string.byte(head, 2) == 0 then return head end
  return nil, 0
end
