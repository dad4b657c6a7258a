-- id
-- The letter of its state and the record.
local record = redis.call('HGET', JOBS, ARGV[1])
return record and {state_of(ARGV[1], record), whole(ARGV[1], record)}
