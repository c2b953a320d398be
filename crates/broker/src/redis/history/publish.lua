-- This file owns publishing: the ids that are known, the entry in the stream, and what is published of it.

-- How long an id is known: one that a publisher gave, and one that a node gave to be able to repeat itself. In
-- milliseconds.
local KNOWN = 300000
local KNOWN_ATTEMPT = 30000

-- The hash of ids lives at most so much longer than the ids in it, so that its end is not set each time.
local SLACK = 60000

-- With one of so many ids, about twice as many are looked at, and those forgotten that are old enough.
local FORGET_EACH = 16

-- Ids that are known, in the hash `ids`: i:<id> is '<time> <position>', and so is ~i:<id> for a node's own; #e is when the
-- hash ends, and #c how far the looking has come. Returns the position, or when the hash ends.
local function known(ids, name, millis, keep)
  local found = redis.call('HMGET', ids, name, '#e')
  if found[1] then
    local time, position = string.match(found[1], '^(%d+) (.+)$')
    if time and math.abs(millis - time) < keep then
      return position
    end
  end
  return nil, tonumber(found[2]) or 0
end

-- Looks at some, and forgets those that are too old. Times compare as texts: they all have 13 digits. What has none is
-- nothing of ours, or of an earlier revision.
local function forget_ids(ids, millis)
  local cursor = redis.call('HMGET', ids, '#c')[1] or '0'
  if not string.find(cursor, '^%d+$') or #cursor > 19 then
    cursor = '0'
  end
  local found = redis.call('HSCAN', ids, cursor, 'COUNT', 2 * FORGET_EACH)
  local from, from_attempt, to = text(millis - KNOWN), text(millis - KNOWN_ATTEMPT), text(millis + KNOWN)
  local entries, gone = found[2], {}
  for i = 1, #entries, 2 do
    local name, value = entries[i], entries[i + 1]
    if value > to or value < from or (value < from_attempt and string.byte(name) == 126) then
      if name ~= '#e' and name ~= '#c' then
        gone[#gone + 1] = name
      end
    end
  end
  for i = 1, #gone, 1000 do
    redis.call('HDEL', ids, unpack(gone, i, math.min(i + 999, #gone)))
  end
  redis.call('HSET', ids, '#c', found[1])
end

local function remember_id(ids, name, millis, position, ends)
  local value = time_text .. ' ' .. position
  if ends - millis >= KNOWN and ends - millis <= KNOWN + SLACK then
    redis.call('HSET', ids, name, value)
  else
    redis.call('HSET', ids, name, value, '#e', text(millis + KNOWN + SLACK))
    redis.call('PEXPIRE', ids, KNOWN + SLACK)
  end
  if one_in(FORGET_EACH) then
    forget_ids(ids, millis)
  end
end

local function answer(position)
  local epoch, offset = string.match(position, '^(%d+)-(%d+)$')
  return { epoch, tonumber(offset) }
end

local NONE = {}

-- The fields of an entry.
local function fields_of(data, options, cut)
  local fields = { 'time', time_text, 'data', data }
  for _, name in ipairs({ 'type', 'headers', 'exclude' }) do
    if options[name] then
      fields[#fields + 1] = name
      fields[#fields + 1] = options[name]
    end
  end
  if cut then
    fields[#fields + 1] = 'cut'
    fields[#fields + 1] = cut
  end
  return fields
end

-- Appends an entry at a position, or at the next one of an epoch. Returns its position; nil if the stream has had that
-- one, or a later one, already. It is the first write: if it fails nothing is done.
local function append(key, rule, position, data, fields)
  local added
  if fields then
    added = redis.pcall('XADD', key, 'MAXLEN', '=', rule[1], position, unpack(fields))
  else
    added = redis.pcall('XADD', key, 'MAXLEN', '=', rule[1], position, 'time', time_text, 'data', data)
  end
  if not added.err then
    return added.ok or added
  end
  if not string.find(added.err, 'equal or smaller', 1, true) then
    refuse(key, added)
  end
end

-- Appends an entry to a channel of which nothing is remembered. Returns the epoch as text, the offset, and the cut if it
-- is the epoch's first entry.
local function append_anew(key, rule, micros, data, options)
  for attempt = 1, 2 do
    local epoch, group, known_last = current(key, rule, micros, attempt == 2)
    local is_first, cut = first_of(epoch, known_last)
    if is_first then
      need('xgroup', 'setid', key, 'u', '1-1')
    end
    local is_plain = not (cut or options.type or options.headers or options.exclude)
    local position = not is_used_up(key, epoch)
      and append(key, rule, epoch .. '-*', data, not is_plain and fields_of(data, options, cut))
    if position then
      local offset = tonumber(string.sub(position, #epoch + 2))
      if is_first then
        redis.call('XGROUP', 'SETID', key, group, position)
      end
      remember(key, epoch, group, offset, rule)
      return epoch, offset, cut
    end
    -- Somebody has given the stream an id behind the epoch: it needs another.
  end
  fail('ERR nothing can be published on ' .. key .. ': DEL the stream, and its history begins anew')
end

-- KEYS: the channel's; its ids, if there is an id. ARGS: the payload, options and their values. Returns epoch and offset.
local function publish(keys, args)
  local key, data, ids = keys[1], args[1], keys[2]
  if not key or not data then
    fail('ERR needed are a key and a payload')
  end
  local millis, micros = now()
  local group, last, rule = recall(key)
  if not group then
    rule = rules(key)
  end
  local options = #args > 1 and options_of(args) or NONE
  local id = options.id or options.attempt
  if id and ids ~= key .. ':ids' then
    fail('ERR with an id the second key must be ' .. key .. ':ids')
  end
  need('xadd', key, '1-1', 'a', 'b')
  need('pexpire', key, '1')
  need(rule[3], key, '')
  local name, ends
  if id then
    need('hset', ids, 'a', 'b')
    need('hdel', ids, 'a')
    need('hscan', ids, '0')
    need('pexpire', ids, '1')
    local first
    name = options.id and 'i:' .. id or '~i:' .. id
    first, ends = known(ids, name, millis, options.id and KNOWN or KNOWN_ATTEMPT)
    if first then
      return answer(first)
    end
  end
  local epoch, offset, cut
  -- The next position is known, and refused if the stream has had it.
  if group and last < MAX_NUMBER - 1 and stands(key, group) then
    epoch, offset = epoch_in(group), last + 1
    local is_plain = not (options.type or options.headers or options.exclude)
    if append(key, rule, epoch .. '-' .. text(offset), data, not is_plain and fields_of(data, options)) then
      offsets[key] = offset
    else
      epoch = nil
    end
  end
  if not epoch then
    epoch, offset, cut = append_anew(key, rule, micros, data, options)
  end
  redis.call('PEXPIRE', key, rule[2])
  local envelope = HEAD
  if #args > 1 then
    envelope = envelope .. (KINDS[options.type] or '')
    if options.session then
      envelope = envelope .. field(131, options.session)
    end
    if options.headers then
      envelope = envelope .. field(4, options.headers)
    end
  end
  if cut then
    local cut_epoch, cut_offset = string.match(cut, '^(%d+)-(%d+)$')
    envelope = envelope .. field(135, struct.pack('>I8I8', tonumber(cut_epoch), tonumber(cut_offset)))
  end
  redis.call(rule[3], key,
    envelope .. time_field .. struct.pack('>BI2I8I8B', 134, 16, tonumber(epoch), offset, 0) .. data)
  if id then
    remember_id(ids, name, millis, epoch .. '-' .. text(offset), ends)
  end
  return { epoch, offset }
end
