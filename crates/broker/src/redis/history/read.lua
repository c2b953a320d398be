-- This file owns reading: where channels stand, and what was published; what this library is; and the functions' names.

-- The most entries that are read at once: they are copied before their sizes are known.
local STEP = 4

-- KEYS: the channel's. Returns epoch and offset.
local function position(keys)
  local _, micros = now()
  local epoch, offset = standing(keys[1], micros)
  return { epoch, offset }
end

-- Entries from `from` on, to `to`, at most `limit`, and no more than fit into `bytes`, but for the first. How many bytes
-- the first has that is left out; 0 if there are no more. If `all` have to fit, so has the first.
local function range(key, command, from, to, limit, bytes, all)
  local entries, used, step = {}, 0, 1
  while true do
    -- One more than is wanted says whether there are more.
    local part = redis.call(command, key, from, to, 'COUNT', math.min(step, limit + 1 - #entries))
    if #part == 0 then
      return entries, 0
    end
    for _, entry in ipairs(part) do
      local size = 64
      for _, value in ipairs(entry[2]) do
        size = size + 24 + #value
      end
      used = used + size
      if #entries >= limit or (used > bytes and (all or #entries > 0)) then
        return entries, size
      end
      entries[#entries + 1] = entry
    end
    from = '(' .. entries[#entries][1]
    step = math.max(1, math.min(STEP, math.floor((bytes - used) * #entries / used)))
  end
end

-- When an entry was published; '' if it is not there.
local function time_of(key, id)
  local entry = redis.call('XRANGE', key, id, id)[1]
  for i = 1, entry and #entry[2] or 0, 2 do
    if entry[2][i] == 'time' then
      return entry[2][i + 1]
    end
  end
  return ''
end

-- KEYS: the channel's. ARGS: behind which position, or '' for all; how many entries at most; how many bytes of them; 'r'
-- for the newest first, before that position; 'all' if the first entry has to fit into the bytes, too. Returns the
-- position; the cut, if the epoch has one and no entry yet; the entries; whether there are more: the bytes of the next
-- one, or 0; the time; when that position was published, if it is of an older epoch and there.
local function read(keys, args)
  local key, since, is_reverse = keys[1], args[1], args[4] == 'r'
  local millis, micros = now()
  local limit, bytes = tonumber(args[2]) or 0, tonumber(args[3]) or 0
  if since ~= '' and not string.find(since or '', '^%d+%-%d+$') then
    fail('ERR a position is <epoch>-<offset>')
  end
  local epoch, offset, cut = standing(key, micros)
  local last = epoch .. '-' .. text(offset)
  local entries, more = {}, 0
  if limit > 0 and is_reverse then
    entries, more = range(key, 'XREVRANGE', since ~= '' and '(' .. since or '+', '-', limit, bytes, args[5] == 'all')
  elseif limit > 0 and since ~= last then
    entries, more = range(key, 'XRANGE', since ~= '' and '(' .. since or '-', '+', limit, bytes, args[5] == 'all')
  end
  local is_older = since ~= '' and not is_reverse and string.sub(since, 1, #epoch + 1) ~= epoch .. '-'
  return { last, cut or '', entries, more, text(millis), is_older and time_of(key, since) or '' }
end

-- What the functions call, and with what behind the key.
local RIGHTS = {
  { 'xadd', '1-1', 'a', 'b' }, { 'xrange', '-', '+' }, { 'xrevrange', '+', '-' }, { 'xsetid', '1-0' },
  { 'pexpire', '1' }, { 'hmget', 'a' }, { 'hset', 'a', 'b' }, { 'hdel', 'a' }, { 'hscan', '0' }
}

local function missing(key, publish_command)
  for _, right in ipairs(RIGHTS) do
    if not redis.acl_check_cmd(right[1], key, right[2], right[3] or '0', right[4] or '0') then
      return right[1]
    end
  end
  for _, command in ipairs({ 'create', 'destroy', 'setid' }) do
    if not redis.acl_check_cmd('xgroup', command, key, 'u', '0') then
      return 'xgroup|' .. command
    end
  end
  for _, command in ipairs({ 'stream', 'groups' }) do
    if not redis.acl_check_cmd('xinfo', command, key) then
      return 'xinfo|' .. command
    end
  end
  if not redis.acl_check_cmd('time') then
    return 'time'
  end
  if not redis.acl_check_cmd(publish_command, key, '') then
    return publish_command
  end
  return redis.acl_check_cmd('info', 'replication') and '' or 'info'
end

-- KEYS: any channel's. ARGS: the command that publishes. Returns the revision of this library, its options, the first
-- right that the caller lacks, whether this is the master, and the replication id.
local function revision(keys, args)
  local lacks = missing(keys[1], args[1] or 'publish')
  if lacks == 'info' then
    return { REVISION, OPTIONS_TEXT, lacks, 0, '' }
  end
  local info = redis.call('INFO', 'replication')
  return {
    REVISION, OPTIONS_TEXT, lacks, string.find(info, 'role:master', 1, true) and 1 or 0,
    string.match(info, 'master_replid:(%w+)') or ''
  }
end

redis.register_function { function_name = 'ullim_history_revision', callback = revision, flags = { 'no-writes' } }
redis.register_function('ullim_publish', publish)
redis.register_function { function_name = 'ullim_position', callback = position, flags = { 'allow-oom' } }
redis.register_function { function_name = 'ullim_read', callback = read, flags = { 'allow-oom' } }
