-- Users sign in with an access token of an IM identity issuer and a presentation of its key: SASL mechanism IM-PRESENTATION.
-- This module asks `issuer sasl-helper` at a Unix socket. The mechanism, the helper and its protocol are in docs/sasl.md.
--
--   VirtualHost "example.com"
--     authentication = "im"
--     auth_im_socket = "/run/issuer-sasl/socket"
--
-- Every failure to reach the helper, and every answer that it cannot use, is a temporary failure. Only the helper says "no".

local async = require "util.async";
local base64 = require "util.encodings".base64;
local json = require "util.json";
local nodeprep = require "util.encodings".stringprep.nodeprep;
local new_id = require "util.id".short;
local server = require "net.server";
local timer = require "util.timer";
local unix = require "socket.unix";

if type(unix) == "function" then unix = { stream = unix }; end -- older LuaSocket

local mechanism = "IM-PRESENTATION";
local socket_path = module:get_option_string("auth_im_socket", "/run/issuer-sasl/socket");
local patience = module:get_option_number("auth_im_timeout", 20); -- seconds to wait for an answer
local accounts = module:open_store("auth_im"); -- of users who have signed in
local max_waiting = 1000; -- requests to the helper at a time
local max_line = 128 * 1024; -- bytes of an answer
local max_response = 32 * 1024; -- bytes of a client's message, as in the helper

local busy = "The server cannot check the sign-in now. Try again later.";

-- The connection to the helper, and the requests that wait for an answer, by id. Each has its connection.
local link;
local waiting, waiting_count = {}, 0;

local function finish(id, answer)
	local request = waiting[id];
	if not request then return; end
	waiting[id], waiting_count = nil, waiting_count - 1;
	if request.timeout then timer.stop(request.timeout); end
	request.answer = answer;
	request.done();
end

-- lost ends the requests that were sent on a connection: there will be no answers.
local function lost(conn)
	if link == conn then link = nil; end
	local ids = {};
	for id, request in pairs(waiting) do
		if request.conn == conn then table.insert(ids, id); end
	end
	for _, id in ipairs(ids) do finish(id, nil); end
end

local listeners = {};
local buffers = setmetatable({}, { __mode = "k" }); -- by connection: what follows the last whole line

function listeners.onconnect(conn) buffers[conn] = ""; end

function listeners.onincoming(conn, data)
	local text = (buffers[conn] or "") .. data;
	local from = 1;
	while true do
		local newline = text:find("\n", from, true);
		if not newline then break; end
		local ok, answer = pcall(json.decode, text:sub(from, newline - 1));
		if ok and type(answer) == "table" and answer.v == 1 and type(answer.id) == "string" then
			finish(answer.id, answer);
		else
			module:log("error", "The helper at %s sent a line that is not an answer", socket_path);
		end
		from = newline + 1;
	end
	buffers[conn] = text:sub(from);
	if #buffers[conn] > max_line then conn:close(); end
end

function listeners.onreadtimeout() return true; end -- the helper says nothing unless it is asked

function listeners.ondisconnect(conn)
	buffers[conn] = nil;
	lost(conn);
end

local function connect()
	if link then return link; end
	local socket = unix.stream();
	socket:settimeout(0);
	local ok, err = socket:connect(socket_path);
	if not ok then
		socket:close();
		return nil, err;
	end
	link, err = server.wrapclient(socket, "unix", 0, listeners, "*a");
	return link, err;
end

-- ask sends a request to the helper and waits for the answer. It returns nil if there is none.
local function ask(request)
	local conn, err = connect();
	if not conn then
		module:log("error", "The helper at %s cannot be reached: %s", socket_path, err);
		return nil;
	end
	if waiting_count >= max_waiting then
		module:log("error", "Too many sign-ins wait for the helper");
		return nil;
	end
	local id = new_id();
	local wait, done = async.waiter();
	local entry = { conn = conn, done = done };
	entry.timeout = timer.add_task(patience, function ()
		module:log("error", "The helper at %s does not answer", socket_path);
		entry.timeout = nil;
		finish(id, nil);
	end);
	waiting[id], waiting_count = entry, waiting_count + 1;
	request.v, request.id, request.domain = 1, id, module.host;
	conn:write(json.encode(request) .. "\n");
	wait();
	return entry.answer;
end

local function temporary() return "failure", "temporary-auth-failure", busy; end

local conditions = {
	["not-authorized"] = true; ["invalid-authzid"] = true; ["malformed-request"] = true; ["temporary-auth-failure"] = true;
};

-- A sasl is one exchange: start, challenge, response, success. A refused one goes on with the error as a challenge and an empty
-- response, and ends with the failure (RFC 7628 §3.2.2).
local sasl = {};
sasl.__index = sasl;

local function new_sasl() return setmetatable({ realm = module.host }, sasl); end

function sasl:mechanisms() return { [mechanism] = true }; end

function sasl:clean_clone() return new_sasl(); end

function sasl:select(name)
	if self.selected or name ~= mechanism then return nil; end
	self.selected = name;
	return true;
end

function sasl:process(message)
	if self.failure then
		return "failure", self.failure.condition, self.failure.text;
	elseif not self.nonce then
		if message and message ~= "" then
			return "failure", "malformed-request", "The server sends the first message of " .. mechanism .. ".";
		end
		local answer = ask({ op = "start" });
		if not answer or answer.result ~= "challenge" or type(answer.nonce) ~= "string" or type(answer.challenge) ~= "string" then
			if answer then module:log("error", "The helper refuses to start: %s", answer.text); end
			return temporary();
		end
		self.nonce = answer.nonce;
		return "challenge", answer.challenge;
	end
	if not message or message == "" or #message > max_response then
		return "failure", "malformed-request", "The message is empty or too long.";
	end
	local answer = ask({ op = "verify", nonce = self.nonce, response = base64.encode(message) });
	if not answer then
		return temporary();
	elseif answer.result == "yes" then
		local username = answer.username;
		if type(username) ~= "string" or nodeprep(username) ~= username then
			return "failure", "not-authorized", "The name of the account is not allowed on this server.";
		end
		local ok, err = accounts:set(username, { signed_in = os.time() });
		if not ok then
			module:log("error", "The account cannot be stored: %s", err);
			return temporary();
		end
		self.username = username;
		return "success";
	elseif answer.result == "no" and conditions[answer.condition] and type(answer.challenge) == "string" then
		self.failure = answer;
		return "challenge", answer.challenge;
	end
	if answer.result ~= "unknown" then module:log("error", "The helper cannot use the request: %s", answer.text); end
	return temporary();
end

local provider = {};
local no_password = "Users sign in with an access token.";

function provider.test_password() return nil, no_password; end
function provider.get_password() return nil, no_password; end
function provider.set_password() return nil, no_password; end
function provider.create_user() return nil, no_password; end

-- An account exists once its user has signed in.
function provider.user_exists(username) return accounts:get(username) ~= nil; end
function provider.delete_user(username) return accounts:set(username, nil); end
function provider.users() return accounts:users(); end

function provider.get_sasl_handler() return new_sasl(); end

function module.unload()
	if link then link:close(); end
end

module:provides("auth", provider);
