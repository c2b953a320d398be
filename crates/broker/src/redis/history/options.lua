-- This file owns the options of a publication: what they may be, and what they are in an envelope.

-- The most headers, and the most bytes of their names and values together.
local MAX_HEADERS = 16
local MAX_HEADER_BYTES = 4096

-- The envelope's magic and version, and its fields.
local HEAD = '\137ULLIM\r\n\1'
local KINDS = { json = '\129\0\1\1', text = '\129\0\1\2', binary = '\129\0\1\3' }

local ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

-- Headers, written anew in the order of their text, which a table does not keep. The text was taken for an object of
-- strings, so that its quoted pieces are a name and a value in turn. Of a repeated name the last value counts, in the
-- first one's place.
local function written(headers, text)
  local parts, seen, at, is_name = {}, {}, 1, true
  while true do
    local first = string.find(text, '"', at, true)
    if not first then
      return '{' .. table.concat(parts, ',') .. '}'
    end
    local last = first
    repeat
      last = string.find(text, '["\\]', last + 1)
      local is_escape = string.byte(text, last) == 92
      if is_escape then
        last = last + 1
      end
    until not is_escape
    if is_name then
      local name = cjson.decode('[' .. string.sub(text, first, last) .. ']')[1]
      if not seen[name] then
        seen[name] = true
        parts[#parts + 1] = cjson.encode(name) .. ':' .. cjson.encode(headers[name])
      end
    end
    at, is_name = last + 1, not is_name
  end
end

-- A JSON object of strings, as an envelope has it.
local function headers_of(value)
  local ok, headers = pcall(cjson.decode, value)
  if not ok or type(headers) ~= 'table' or not string.find(value, '^%s*{') then
    fail('ERR headers must be a JSON object of strings')
  end
  local entries, bytes = 0, 0
  for name, content in pairs(headers) do
    if type(name) ~= 'string' or type(content) ~= 'string' then
      fail('ERR headers must be a JSON object of strings')
    end
    if not is_utf8(name) or not is_utf8(content) then
      fail('ERR headers must be UTF-8')
    end
    entries = entries + 1
    bytes = bytes + #name + #content
  end
  if entries > MAX_HEADERS or bytes > MAX_HEADER_BYTES then
    fail('ERR there may be ' .. MAX_HEADERS .. ' headers with ' .. MAX_HEADER_BYTES .. ' bytes')
  end
  return written(headers, value)
end

-- The 16 bytes of a session id.
local function session_of(value)
  local bytes, bits, held = {}, 0, 0
  for i = 1, #value do
    local digit = string.find(ALPHABET, string.sub(value, i, i), 1, true)
    if not digit then
      break
    end
    held = held * 64 + digit - 1
    bits = bits + 6
    if bits >= 8 then
      bits = bits - 8
      local unit = 2 ^ bits
      bytes[#bytes + 1] = string.char(math.floor(held / unit))
      held = held % unit
    end
  end
  if #value ~= 22 or #bytes ~= 16 or held ~= 0 then
    fail('ERR exclude must be the id of a session: 22 characters')
  end
  return table.concat(bytes)
end

local function field(tag, value)
  return struct.pack('>BI2', tag, #value) .. value
end

-- The options of a publication, as they stand in args behind the payload.
local function options_of(args)
  local options = {}
  for i = 2, #args, 2 do
    local name, value = args[i], args[i + 1]
    if not value then
      fail('ERR the option ' .. name .. ' has no value')
    end
    if options[name] then
      fail('ERR the option ' .. name .. ' is there twice')
    end
    if name == 'id' or name == 'attempt' then
      if #value < 1 or #value > 128 then
        fail('ERR id must have 1 to 128 bytes')
      end
    elseif name == 'headers' then
      value = headers_of(value)
    elseif name == 'exclude' then
      options.session = session_of(value)
    elseif name == 'type' then
      if not KINDS[value] then
        fail('ERR type must be json, text or binary')
      end
    else
      fail('ERR unknown option ' .. name .. ': there are exclude, headers, id and type')
    end
    options[name] = value
  end
  return options
end

