package ullim.spring;

import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;

import org.springframework.context.event.EventListener;
import org.springframework.http.HttpStatus;
import org.springframework.http.ResponseEntity;
import org.springframework.messaging.simp.SimpMessagingTemplate;
import org.springframework.messaging.simp.broker.BrokerAvailabilityEvent;
import org.springframework.messaging.simp.user.SimpUser;
import org.springframework.messaging.simp.user.SimpUserRegistry;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;

/** What a test asks of an instance over HTTP. */
@RestController
public class Letters {
    private final SimpMessagingTemplate template;
    private final SimpUserRegistry users;
    private final AtomicBoolean available = new AtomicBoolean();

    public Letters(SimpMessagingTemplate template, SimpUserRegistry users) {
        this.template = template;
        this.users = users;
    }

    @EventListener
    public void on(BrokerAvailabilityEvent event) {
        available.set(event.isBrokerAvailable());
    }

    /** A message to one user, on whichever instance. */
    @PostMapping("/letters/{user}")
    public void send(@PathVariable String user, @RequestBody Map<String, Object> letter) {
        template.convertAndSendToUser(user, "/queue/letters", letter);
    }

    /** 200 while the relay has its broker, otherwise 503. */
    @GetMapping("/relay")
    public ResponseEntity<Void> relay() {
        return ResponseEntity.status(available.get() ? HttpStatus.OK : HttpStatus.SERVICE_UNAVAILABLE).build();
    }

    /** The users of all instances that this one has heard of. */
    @GetMapping("/users")
    public String users() {
        return users.getUsers().stream().map(SimpUser::getName).sorted().collect(Collectors.joining(","));
    }
}
