-- clock, worker, for how long
redis.call('ZADD', WORKERS, now(ARGV[1]) + ARGV[3], ARGV[2])
return 1
