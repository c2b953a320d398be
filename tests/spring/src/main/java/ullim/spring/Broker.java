package ullim.spring;

import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.annotation.Configuration;
import org.springframework.messaging.simp.config.MessageBrokerRegistry;
import org.springframework.web.socket.config.annotation.EnableWebSocketMessageBroker;
import org.springframework.web.socket.config.annotation.StompEndpointRegistry;
import org.springframework.web.socket.config.annotation.WebSocketMessageBrokerConfigurer;

/** What Spring's manual shows for an external broker and several servers, and nothing else. */
@Configuration
@EnableWebSocketMessageBroker
public class Broker implements WebSocketMessageBrokerConfigurer {
    private final String host;
    private final int port;
    private final String login;
    private final String passcode;

    public Broker(@Value("${relay.host}") String host, @Value("${relay.port}") int port,
            @Value("${relay.login}") String login, @Value("${relay.passcode}") String passcode) {
        this.host = host;
        this.port = port;
        this.login = login;
        this.passcode = passcode;
    }

    @Override
    public void configureMessageBroker(MessageBrokerRegistry registry) {
        registry.setApplicationDestinationPrefixes("/app");
        registry.enableStompBrokerRelay("/topic", "/queue")
                .setRelayHost(host).setRelayPort(port)
                .setSystemLogin(login).setSystemPasscode(passcode)
                .setClientLogin(login).setClientPasscode(passcode)
                .setUserDestinationBroadcast("/topic/unresolved-user-destination")
                .setUserRegistryBroadcast("/topic/simp-user-registry");
    }

    @Override
    public void registerStompEndpoints(StompEndpointRegistry registry) {
        registry.addEndpoint("/ws").setHandshakeHandler(new NamedUser()).setAllowedOriginPatterns("*");
    }
}
