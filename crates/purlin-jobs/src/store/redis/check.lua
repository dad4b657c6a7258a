-- What the server says of itself that has the slot of these keys.
return {redis.call('INFO', 'server'), redis.call('INFO', 'memory')}
