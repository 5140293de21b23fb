package greeter;

import static org.junit.Assert.assertEquals;

import org.junit.Test;

public class GreeterTest {
    @Test
    public void greetsByName() {
        assertEquals("Hello, Ada!", Greeter.greeting("Ada"));
    }

    @Test
    public void greetsTheWorldByDefault() {
        assertEquals("Hello, world!", Greeter.greeting(""));
    }
}
