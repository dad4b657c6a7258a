-- clock, lease, unresolved, px, the record to be before its deadlines, its fingerprint or zeros, whether
-- to take over a lapsed lease
-- An attempt when it is acquired, else what was seen.
local t = now(ARGV[1])
local begin, fingerprint = ARGV[5], ARGV[6]
local deadlines = struct.pack('>i8i8', t + ARGV[3], t + ARGV[2])
local new = begin .. deadlines .. fingerprint
local old = redis.pcall('SET', KEYS[1], new, 'PX', ARGV[4], 'NX', 'GET')
if not old then return 1 end
