package ullim.spring;

import java.security.Principal;

import org.springframework.messaging.handler.annotation.MessageMapping;
import org.springframework.messaging.handler.annotation.SendTo;
import org.springframework.stereotype.Controller;

/** Whoever says hello to one instance is greeted in front of the clients of all. */
@Controller
public class Greetings {
    public record Hello(String name) {}

    public record Greeting(String content, String from) {}

    @MessageMapping("/hello")
    @SendTo("/topic/greetings")
    public Greeting greet(Hello hello, Principal from) {
        return new Greeting("Hello, " + hello.name() + "!", from.getName());
    }
}
