package ullim.spring;

import java.security.Principal;
import java.util.Map;

import org.springframework.http.server.ServerHttpRequest;
import org.springframework.web.socket.WebSocketHandler;
import org.springframework.web.socket.server.support.DefaultHandshakeHandler;
import org.springframework.web.util.UriComponentsBuilder;

/** The user is whom the URL names: {@code /ws?user=NAME}. Tests only. */
class NamedUser extends DefaultHandshakeHandler {
    @Override
    protected Principal determineUser(ServerHttpRequest request, WebSocketHandler handler, Map<String, Object> attributes) {
        String name = UriComponentsBuilder.fromUri(request.getURI()).build().getQueryParams().getFirst("user");
        return name == null ? null : () -> name;
    }
}
